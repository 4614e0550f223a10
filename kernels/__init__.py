"""Target-language text that the code generators stitch in; see README.md."""
