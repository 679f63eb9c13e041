"""What more cases or a longer training would bring, and which cases fail, with its uncertainty."""
