"""What operators can ask and order: an operation a module, or a few that belong together; `admin.table` joins them."""
