"""The demo: real businesses' facts, their customers' questions, one whole turn of the loop."""
