"""How a run starts: from scratch, warm, by resume, as a fork, or from another program's file."""
