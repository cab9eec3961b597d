"""The data centre of these tests: that of the simulated world."""

from vadose.twin.serving import Answer, Centre, Handler, drop, serve, status

SECRETS = ("tok-SECRET-en", "pass-SECRET-word")

__all__ = ["SECRETS", "Answer", "Centre", "Handler", "drop", "serve", "status"]
