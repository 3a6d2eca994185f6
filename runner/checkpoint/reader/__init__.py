"""The file is read here, without torch or with it: nothing that it names is called, and all of it is bounded."""
