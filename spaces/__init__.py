"""Search spaces: a genome becomes a recipe; one file each."""
