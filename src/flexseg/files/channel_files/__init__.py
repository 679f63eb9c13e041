"""Images whose channels are files of their own."""
