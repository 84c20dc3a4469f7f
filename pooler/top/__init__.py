"""`pooler top`: what the instances of any number of hosts do at this moment."""
