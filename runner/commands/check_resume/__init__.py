"""`task=check_resume`: a killed run against one that was left alone."""
