"""What tests of the EC2 roles need: the collection amazon.aws, and a server that answers as EC2 does."""
