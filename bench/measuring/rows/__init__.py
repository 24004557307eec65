"""The rows of the page: each module measures some of them."""
from . import crowd, drains, due, growth, handover, live, standing

# In the order in which they are measured.
MODULES = (drains, live, due, standing, handover, crowd, growth)
