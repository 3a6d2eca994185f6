"""From the command line to objects: compose and check the config, choose the start, build."""
