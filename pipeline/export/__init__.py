"""`export`: a pushed model in other formats, each verified before it is kept."""
