"""How numbers are written in sentences and tables: with a fixed count of decimals, everywhere alike. Light."""

P_DIGITS = 4  # of a p value: of 5 + 5 models the smallest is 0.0040


def fixed(value: float, digits: int = 3) -> str:
    """With so many decimals; what these round to 0 has no sign."""
    text = f"{value:.{digits}f}"
    return text if float(text) else text.removeprefix("-")


def small(value: float, digits: int = 3) -> str:
    """The same of what is above 0 and can be very small, such as a p value: `< 0.001` instead of a 0 that it is not."""
    least = 10.0**-digits
    return f"< {fixed(least, digits)}" if 0 < value < least else fixed(value, digits)


def p_is(value: float) -> str:
    """`p = 0.0500`, or `p < 0.0001`."""
    text = small(value, P_DIGITS)
    return f"p {text}" if text.startswith("<") else f"p = {text}"
