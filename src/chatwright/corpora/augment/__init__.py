"""More texts from the same ones: other words, another order, fewer words (Wei and Zou 2019, EDA), or there and back through
another language (Sennrich et al. 2016)."""
