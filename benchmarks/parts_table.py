def print_tables(cells, settings):
    pass
