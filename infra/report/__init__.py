"""The report of each night, told from the record. Commands and pages show the same.

`night` gathers it, `markdown` writes it down, `changes` compares the answers before and after, and `bisect`
finds the night that broke one.
"""
