"""Find faces, link them into tracks and cut crops."""
