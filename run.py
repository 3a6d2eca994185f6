"""Train, resume, evaluate: `python run.py model=lenet device=cuda`. Everything is explained by `--help`."""

from runner.commands.main import main

if __name__ == "__main__":
    main()
