"""From a folder of images to a config for the time at hand, and the search for a better one."""
