"""Other programs that do a part of the same work, installed beside the package and measured."""
