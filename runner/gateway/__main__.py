"""Entry of the gateway process: `python -m runner.gateway`, started by `runner.gateway.client`."""

from runner.gateway.process import main

if __name__ == "__main__":
    main()
