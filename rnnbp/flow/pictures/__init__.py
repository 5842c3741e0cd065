"""A report drawn: pictures by matplotlib, and one page of HTML that holds them all."""
