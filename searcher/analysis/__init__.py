"""What a finished history tells beyond its front: which genes matter, which points differ, how far scores flatter."""
