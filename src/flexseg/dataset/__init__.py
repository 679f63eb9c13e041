"""What a folder of data is: layout, cases, classes, groups, splits; the only place that guesses."""
