"""The same networks, faster on a CPU."""
