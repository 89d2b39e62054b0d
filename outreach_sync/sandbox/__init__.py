"""Both services, simulated: real HTTP servers on loopback that follow the documented behaviour, faults included."""
