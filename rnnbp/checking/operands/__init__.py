"""What a forward is evaluated on: plain arrays, or operands that carry a tangent, a history, a distance from a kink."""
