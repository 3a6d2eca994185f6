"""How a run starts: from scratch, warm, by a resume, as a fork, or from another program's file."""
