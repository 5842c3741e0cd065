"""How derivatives are made to compare with: complex steps, tangents, differences, autodiff; and other witnesses."""
