"""Who trains, who validates, who is tested: as given, and divided where nothing is."""
