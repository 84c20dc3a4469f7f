"""The same desired state for other systems than a host that Ansible reaches."""
