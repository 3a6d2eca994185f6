"""From files to the inputs of a model: the same in training and for new files, and known from a checkpoint alone."""
