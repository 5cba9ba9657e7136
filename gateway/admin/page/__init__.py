"""The dashboard: pages for people on the admin listener, made of what the admin API tells programs.

`routes` says which pages there are; `session` how a browser is let in; `live` how an open page stays up to date.
Every page is rendered here, whole, and is of use without JavaScript; the scripts in `assets` only keep it fresh.
"""
