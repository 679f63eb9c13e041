"""At what size a network sees images: whole ones, or patches of them."""
