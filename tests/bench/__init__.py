"""What large fleets cost the controller: `make bench`."""
