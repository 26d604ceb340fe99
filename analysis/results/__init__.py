"""Results of a sweep: read from its folder, described by a schema."""
