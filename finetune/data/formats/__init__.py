"""The formats of training files: a record of any of them becomes an Example."""
