"""The texts of packaging systems that several parts of the program read: each is read here once."""
