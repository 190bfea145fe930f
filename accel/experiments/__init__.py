"""The experiments of Arora, Cohen and Hazan (2018), one module a figure."""
