"""What molecule's scenarios test on the lab's hosts: through ssh, through the pool, and by running playbooks again."""
