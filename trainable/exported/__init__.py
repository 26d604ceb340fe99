"""Files that an exported classifier is copied with; they stand alone and import nothing of this project."""
