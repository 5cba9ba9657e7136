"""Answers as text for people: columns, one line a member, the place of a mistake. Nothing here asks or reads."""
