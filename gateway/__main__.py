"""The command `gateway`, which `python -m gateway` is too."""

from gateway.standard_streams import open_standard_streams


def main() -> None:
    """Run the command line. Nothing is imported for it before the standard streams have their numbers."""
    open_standard_streams()
    from gateway.cli import main as command

    command()


if __name__ == "__main__":
    main()
