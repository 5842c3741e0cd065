"""What can be checked: a step, a sequence, a model, as a scalar function and the gradients claimed for it."""
