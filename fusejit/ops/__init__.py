"""The ops, one record each; importing a module declares its ops and installs their operators."""
