"""Examples, to run and to copy from: `python -m fusejit.examples.NAME --help`.

    mnist_mlp      two dense layers, an iterator and plain gradient descent: the smallest of them
    mnist_cnn      a convolutional network, trained by `fj.train.fit`
    char_lstm      an LSTM that learns to write, character by character
    custom_cell    a recurrent cell of one's own, with layer normalisation
    vae            a variational autoencoder with two latent numbers
    transformer    a small one, that learns to write as well
    hmc            Hamiltonian Monte Carlo: gradients without any learning
    neural_ode     a network as the right side of a differential equation

Each draws a picture (matplotlib, the extra `examples`) and times its step, eager beside fused.
"""
