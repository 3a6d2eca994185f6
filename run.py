"""Train, resume, evaluate: `python run.py model=lenet device=cuda`. Everything is explained by `--help`."""

from runner.signals import die_by_sigint

try:
    from runner.commands.main import main
except KeyboardInterrupt:  # the imports take a moment
    die_by_sigint()

if __name__ == "__main__":
    main()
