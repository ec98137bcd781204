"""Where personal data stands in a text: addresses, numbers, keys. Each finder yields `(start, stop, kind)`."""
