"""The checker, checked: cells with faults planted by hand, each of which a gradient check must find and name."""
