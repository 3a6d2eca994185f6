"""Train, resume, evaluate: `python run.py model=lenet device=cuda`. `--help` explains every key."""

from runner.signals import die_by_sigint

try:
    from runner.commands.main import main
except KeyboardInterrupt:  # during the imports, which take a moment
    die_by_sigint()

if __name__ == "__main__":
    main()
