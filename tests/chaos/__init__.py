"""What skene guarantees, shown while processes are killed, databases crash and networks break.

Each proof is run beside a control: a gate, sender or scheduler as careful people write it by hand, under the
same faults. A proof whose control passes has shown nothing, and counts as failed.
"""
